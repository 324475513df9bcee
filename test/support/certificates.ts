// Certificates for tests of TLS, from an authority made here.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** An authority, a server's certificate for `localhost`, and a client's for the role `certified`: `ca.pem`, `server.pem`, `server.key` … */
export function makeCertificates(folder: string): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const request = (name: string, subject: string) =>
    openssl(
      'req',
      '-new',
      '-nodes',
      '-newkey',
      'rsa:2048',
      '-subj',
      subject,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
    )
  openssl(
    'req',
    '-x509',
    '-nodes',
    '-newkey',
    'rsa:2048',
    '-days',
    '2',
    '-subj',
    '/CN=test authority',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
  )
  writeFileSync(join(folder, 'san'), 'subjectAltName=DNS:localhost')
  for (const [name, subject] of [
    ['server', '/CN=localhost'],
    ['client', '/CN=certified'],
  ] as const) {
    request(name, subject)
    const san = name === 'server' ? ['-extfile', 'san'] : []
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-days',
      '2',
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      ...san,
      '-out',
      `${name}.pem`,
    )
  }
}
