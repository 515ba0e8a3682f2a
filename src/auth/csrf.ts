import type { KeyRing } from './keys.js'

/** What makes a form of ours ours: only a page that we gave to this browser knows it. */
export interface FormTokens {
  /** For the hidden field of a form. `binding` names the browser's session, or whatever cookie stands for one. */
  create(binding: string): Promise<string>
  /** False for a token of another binding, or of nobody. */
  verify(binding: string, token: string): Promise<boolean>
}

const maxTokenLength = 200

/** Tokens are the binding, signed: there is nothing to store, and nothing in them that helps anybody else. */
export const createFormTokens = (keys: Pick<KeyRing, 'sign' | 'verify'>): FormTokens => ({
  create: (binding) => keys.sign('csrf', binding),
  verify: async (binding, token) => token.length <= maxTokenLength && keys.verify('csrf', binding, token),
})
