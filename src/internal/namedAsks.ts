/**
 * The asks of this process under ids that its callers made, while they are under way. Such an id is of all who ask
 * under it: the same ask may be made by several at once, and another one under the same id is refused.
 */
export class NamedAsks {
  readonly #asked = new Map<string, { readonly fingerprint: string; askers: number }>()

  /** One more asks; `false` where the id is another ask's. */
  enter(id: string, fingerprint: string): boolean {
    const known = this.#asked.get(id)
    if (known === undefined) this.#asked.set(id, { fingerprint, askers: 1 })
    else if (known.fingerprint !== fingerprint) return false
    else known.askers++
    return true
  }

  /** One of them has got an answer, or has left. */
  leave(id: string): void {
    const known = this.#asked.get(id)
    if (known !== undefined && --known.askers === 0) this.#asked.delete(id)
  }
}
