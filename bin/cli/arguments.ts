// Readers of option values.
import { InvalidArgumentError } from 'commander'

/** A whole number of this range, as commander's option parser. */
export const wholeNumber = (min: number, max: number) => (text: string) => {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}.`)
}
