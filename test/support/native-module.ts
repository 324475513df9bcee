// Loads a module as Node itself does, beside what vitest has made of it: functions then have the texts that other threads see, by
// which an application is known again there.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** @param name relative to this folder */
export const nativeModule = <T>(name: string): T => require(name) as T
