/** A message of Schema as part of a text of ours: on one line, and with a full stop, as more may follow it. */
export const sentence = (message: string): string => {
  const line = message.trim().replace(/\s*\n\s*/g, " ")
  return line.endsWith(".") ? line : `${line}.`
}
