/**
 * What is told of a failure of Redis, and of a server that does not keep books well. Only words that are known here
 * get into a text: an error of the client may quote what it sent, a password among it.
 */
import { StoreUnavailable } from "./ledgerStore.ts"

const replies: Readonly<Record<string, string>> = {
  OOM: "its memory is full (maxmemory). Give it more, or a server of its own.",
  READONLY: "it is a replica that only reads. Connect to the primary.",
  LOADING: "it is still loading its data.",
  MISCONF: "it cannot write to its disk, and refuses writes until it can.",
  NOREPLICAS: "it has fewer replicas than min-replicas-to-write.",
  NOAUTH: "it wants a password.",
  WRONGPASS: "it refuses the user or the password.",
  NOPERM:
    "its user may not do what the ledger does. Allow keys and channels below the prefix, and scripts (EVAL, EVALSHA).",
  NOSCRIPT: "it has forgotten the script.",
  CLUSTERDOWN: "its cluster is down.",
  MOVED: "the ledger is on another node of the cluster. Connect to that one, or with a client that follows.",
  ASK: "the ledger is moving to another node of the cluster.",
  TRYAGAIN: "the ledger is moving to another node of the cluster.",
  BUSY: "it is busy with another script.",
  MASTERDOWN: "it is a replica without its primary.",
  WRONGTYPE: "a key of the ledger holds what the ledger did not write. Choose another prefix.",
  // What our own script answers.
  GONE: "the books are gone: it was emptied, or restarted without them. Open the ledger anew to begin new ones.",
  EXECABORT: "it gave up a transaction.",
  ERR: "it reports an error."
}

/** The word with which a reply begins that is an error, where it is a known one. */
export const replyOf = (cause: unknown): string | undefined => {
  const word = cause instanceof Error ? /^[A-Z]+(?=\s|$)/.exec(cause.message)?.[0] : undefined
  return word !== undefined && Object.hasOwn(replies, word) ? word : undefined
}

/** What goes wrong inside our scripts is told with nothing but the script and the user's name, and cannot be mended blind. */
const ofScript =
  /^ERR (?:user_script|Error (?:running|compiling) script|ACL failure in script|The user executing).*/

/** Whether it went wrong inside a script of ours, at what it read: what it does not write then, it writes for nobody. */
export const isOfScript = (cause: unknown): boolean => cause instanceof Error && ofScript.test(cause.message)

const connection = (cause: unknown): string => {
  // The client's word for "not again" has the reason inside.
  if (cause instanceof Error && "originalError" in cause && cause.originalError !== cause) {
    return connection(cause.originalError)
  }
  if (!(cause instanceof Error)) return "the connection failed."
  if ("code" in cause && typeof cause.code === "string" && /^[A-Z_]{2,30}$/.test(cause.code)) {
    return `the connection failed (${cause.code}).`
  }
  return `the connection failed (${cause.constructor.name}).`
}

/** An answer that is not the one to what was asked, so that the connection has lost count. */
export class OthersAnswer extends Error {}

/** What is told where Redis did not do a verb, or where nobody knows whether it did. */
export const unavailable = (verb: string, cause: unknown): StoreUnavailable => {
  if (cause instanceof OthersAnswer) {
    const detail = `Redis (${verb}): it answered something else, so that nothing on this connection can be trusted.`
    return new StoreUnavailable({ detail })
  }
  const word = replyOf(cause)
  const script = cause instanceof Error ? ofScript.exec(cause.message)?.[0] : undefined
  const what =
    word === undefined ? connection(cause) : `${word}: ${script ?? replies[word] ?? "it reports an error."}`
  return new StoreUnavailable({ detail: `Redis (${verb}): ${what}` })
}

/** One line of what `INFO` answers. */
const lineOf = (info: string, name: string): string | undefined =>
  new RegExp(`^${name}:(.*?)\r?$`, "m").exec(info)?.[1]

/** What a user should know of a server before it keeps books; `serious` where it will lose them some day. */
interface Concern {
  readonly serious: boolean
  readonly text: string
}

/**
 * What is wrong with a server as a place for books, by its `INFO` and, where it may be asked, its `appendfsync`. Keys
 * of the ledger never have a time to live, so `volatile-*` policies leave them alone.
 */
export const concerns = (info: string, appendfsync: string | undefined): ReadonlyArray<Concern> => {
  const found: Array<Concern> = []
  const policy = lineOf(info, "maxmemory_policy")
  if (policy?.startsWith("allkeys") === true) {
    const text =
      `maxmemory-policy is ${policy}: when its memory is full, Redis throws the books away, and their money can be ` +
      "spent again. Set it to noeviction."
    found.push({ serious: true, text })
  }
  if (lineOf(info, "aof_enabled") === "0") {
    const text =
      "appendonly is no: a crash of Redis loses all since its last snapshot, and that money can be spent again. " +
      "Set it to yes."
    found.push({ serious: true, text })
  } else if (appendfsync === "no" || appendfsync === "everysec") {
    const lost = appendfsync === "no" ? "what the system had not written yet" : "about a second of the books"
    const text =
      `appendfsync is ${appendfsync}: a crash of its machine loses ${lost}, and that money can be spent again. ` +
      "Where that matters, set it to always."
    found.push({ serious: appendfsync === "no", text })
  }
  const [major = 7, minor = 0] = (lineOf(info, "redis_version") ?? "7.0").split(".").map(Number)
  if (major < 6 || (major === 6 && minor < 2)) {
    found.push({ serious: true, text: "it is older than Redis 6.2, which the ledger's scripts need." })
  }
  return found
}
