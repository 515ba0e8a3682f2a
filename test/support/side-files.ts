import type { Test } from 'tap'
import { sealed, sha1 } from './packs.js'

/** True when opening is refused as corrupt; any other error is thrown. */
export function refused(open: (file: Buffer) => unknown, file: Buffer): boolean {
  try {
    open(file)
    return false
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'corrupt') throw error
    return true
  }
}

/**
 * A sealed file is refused when it is cut off at any length, and when any byte of it is another. One that says how long it is is also
 * refused when it is cut off and sealed again there.
 */
export function refusesDamage(t: Test, file: Buffer, open: (file: Buffer) => unknown, saysLength = true): void {
  t.notOk(refused(open, file), 'the file itself is none of these')
  for (let length = 0; length < file.length; length++) {
    if (!refused(open, file.subarray(0, length))) t.fail(`cut off after ${length} bytes`)
    if (saysLength && length !== file.length - 20 && !refused(open, sealed(file.subarray(0, length))))
      t.fail(`cut off after ${length} bytes and sealed again`)
    const spoilt = Buffer.from(file)
    spoilt[length]! ^= 1
    if (!refused(open, spoilt)) t.fail(`byte ${length} is another`)
  }
}

/** Each lie is put into a sealed file at its offset, and the file is refused with its message. */
export function refusesLies(
  t: Test,
  file: Buffer,
  lies: readonly (readonly [lie: string, offset: number, hex: string, message: string])[],
  open: (file: Buffer) => unknown,
): void {
  for (const [lie, offset, bytes, message] of lies) {
    const lying = Buffer.from(file.subarray(0, -20))
    lying.set(Buffer.from(bytes.replaceAll(' ', ''), 'hex'), offset)
    t.throws(() => open(sealed(lying)), { code: 'corrupt', message }, lie)
  }
}

/** Up to three bytes anywhere become others, so many times: the file is refused, or `use` goes through with what was opened. */
export function survivesFuzz<Opened>(t: Test, file: Buffer, rounds: number, open: (file: Buffer) => Opened, use: (opened: Opened) => void): void {
  let passed = 0
  for (let i = 0; i < rounds; i++) {
    const fuzzed = Buffer.from(file.subarray(0, -20))
    for (let k = 0; k <= i % 3; k++) {
      const dice = sha1(Buffer.from(`${i} ${k}`))
      fuzzed[dice.readUInt32BE(0) % fuzzed.length] = dice[4]!
    }
    const again = sealed(fuzzed)
    if (refused(open, again)) continue
    passed += 1
    use(open(again))
  }
  t.ok(passed < rounds, `${passed} of ${rounds} were taken`)
}
