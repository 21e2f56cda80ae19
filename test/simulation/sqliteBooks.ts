/** The books of the SQLite engine, its own statements on its own tables, in a database that is in memory only. */
import { DatabaseSync } from "node:sqlite"
import { SqliteBooks } from "../../src/internal/sqliteBooks.ts"
import { steps as schema } from "../../src/internal/sqliteSchema.ts"
import type { Books } from "../utils/steppedStore.ts"

export const open = (clock: () => number): Books => {
  const database = new DatabaseSync(":memory:")
  for (const step of schema) database.exec(step)
  const begin = database.prepare("BEGIN IMMEDIATE")
  const commit = database.prepare("COMMIT")
  const rollback = database.prepare("ROLLBACK")
  const books = new SqliteBooks(database, clock)
  return {
    verbs: books,
    step: (_, take) => {
      begin.run()
      try {
        books.begin()
        const answer = take(books)
        books.finish()
        commit.run()
        return answer
      } catch (error) {
        rollback.run()
        throw error
      }
    }
  }
}
