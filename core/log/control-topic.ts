// The one topic that the log itself knows by name: its records are state, so that a cleaning keeps the last of each source.

/** The topic in which sources say what they have to remember (core/change/control.ts): of each source the last word counts. */
export const CONTROL_TOPIC = 'mainstem.sources'
