import { createHash, randomInt } from 'node:crypto'

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const tokenCharacters = 37

/** A new token: `hf_` and 37 letters and digits, 220 bits. Clients drop what does not begin so. */
export function createToken(): string {
  let token = 'hf_'
  for (let i = 0; i < tokenCharacters; i++) token += alphabet[randomInt(alphabet.length)]!
  return token
}

/** What is kept of a token: its SHA-256. */
export const hashToken = (token: string): Buffer => createHash('sha256').update(token, 'utf8').digest()
