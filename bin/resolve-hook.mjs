// Lets an application file run from any folder: where `mainstem`, `mainstem/…` or `zod` cannot be found from the file
// itself, this package's own are taken. What the file's own folder has installed always comes first.
import { registerHooks } from 'node:module'

const OWN = /^(?:mainstem|zod)(?:\/|$)/
const NOT_FOUND = new Set(['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'])

registerHooks({
  resolve(specifier, context, nextResolve) {
    if (!OWN.test(specifier)) return nextResolve(specifier, context)
    try {
      return nextResolve(specifier, context)
    } catch (error) {
      if (!NOT_FOUND.has(error?.code)) throw error
      return nextResolve(specifier, { ...context, parentURL: import.meta.url })
    }
  },
})
