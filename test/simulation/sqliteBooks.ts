/** The books of the SQLite engine, its own statements on its own tables, in a database that is in memory only. */
import { DatabaseSync } from "node:sqlite"
import { SqliteBooks } from "../../src/internal/sqliteBooks.ts"
import { steps as schema } from "../../src/internal/sqliteSchema.ts"
import type { Books } from "../utils/steppedStore.ts"

export interface Opened extends Books {
  readonly close: () => void
}

export const open = (clock: () => number): Opened => {
  const database = new DatabaseSync(":memory:")
  for (const step of schema) database.exec(step)
  const begin = database.prepare("BEGIN IMMEDIATE")
  const commit = database.prepare("COMMIT")
  const books = new SqliteBooks(database, clock)
  return {
    verbs: books,
    step: (_, take) => {
      begin.run()
      books.begin()
      const answer = take(books)
      books.finish()
      commit.run()
      return answer
    },
    close: () => {
      database.close()
    }
  }
}
