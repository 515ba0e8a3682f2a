/** For `catch`: a value in place of an error of the system with one of these codes; others are thrown on. */
export const ifCode =
  <T>(codes: readonly string[], value: T) =>
  (error: unknown): T => {
    if (!codes.includes((error as NodeJS.ErrnoException | null)?.code ?? '')) throw error
    return value
  }

/** There is no such file or folder. */
export const ifMissing = <T>(value: T): ((error: unknown) => T) => ifCode(['ENOENT', 'ENOTDIR'], value)
