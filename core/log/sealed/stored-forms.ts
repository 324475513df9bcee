// The forms in which columns are stored: numbers that stand in heads of sealed blocks.
export const CONST = 0
export const BITS = 1
export const U8 = 2
export const U16 = 3
export const U32 = 4
export const F64 = 5
export const I64 = 6
export const HEAP = 7
export const DICTIONARY = 8
export const SAME = 9
export const STEPS = 10
