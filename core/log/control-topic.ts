// The topics that the log itself knows by name. What sources say is state: a cleaning keeps the last of each source.

/** The topic in which sources say what they have to remember (core/change/control.ts): of each source the last word counts. */
export const CONTROL_TOPIC = 'mainstem.sources'

/** The topic of what happened to sources beside their changes (core/change/source-events.ts): history, none of which is removed. */
export const SOURCE_EVENTS_TOPIC = 'mainstem.source-events'

/** The topic of what views are told beside their inputs (projections/view-control.ts): history, none of which is removed. */
export const VIEWS_TOPIC = 'mainstem.views'

/** The topic of what operators did over HTTP (query-api/actions.ts): history, none of which is removed. */
export const ACTIONS_TOPIC = 'mainstem.actions'

/** The topic of idempotency keys that appends were made under (query-api/keyed-appends.ts): kept for some days. */
export const APPENDS_TOPIC = 'mainstem.appends'

/** The topic of idempotency keys that commands were sent under (core/commands/command-keys.ts): kept for some days. */
export const COMMANDS_TOPIC = 'mainstem.commands'
