// The server's certificate and key: read when it opens, and again when they change, so that a renewed certificate needs no restart.
import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { createSecureContext, type Server } from 'node:tls'
import { fail, textOf } from '../../core/index.ts'

export interface TlsOptions {
  /** PEM: the certificate, with those between it and an authority. */
  readonly certFile: string
  /** PEM: its private key. */
  readonly keyFile: string
}

export interface TlsContext {
  readonly cert: Buffer
  readonly key: Buffer
  readonly minVersion: 'TLSv1.2'
}

/** How often it is looked whether the files have changed, milliseconds. */
const POLL_MS = 1_000

/** @throws TLS_INVALID */
export function readTls({ certFile, keyFile }: TlsOptions): TlsContext {
  try {
    const context = { cert: readFileSync(certFile), key: readFileSync(keyFile), minVersion: 'TLSv1.2' } as const
    createSecureContext(context)
    return context
  } catch (error) {
    throw fail('TLS_INVALID', 'the certificate cannot be used', {
      detail: textOf(error),
      hint: '--tls-cert and --tls-key are PEM files that belong together, readable by this user',
      cause: error,
    })
  }
}

/** Gives a server what the files say whenever they change; what cannot be used is told, and the server keeps what it has. */
export function reloadTls(server: Server, options: TlsOptions, onFailed: (error: unknown) => void): { close(): void } {
  const reload = () => {
    try {
      server.setSecureContext(readTls(options))
    } catch (error) {
      onFailed(error)
    }
  }
  const files = [options.certFile, options.keyFile]
  for (const file of files) watchFile(file, { interval: POLL_MS, persistent: false }, reload)
  return { close: () => files.forEach(file => void unwatchFile(file, reload)) }
}
