// A thread that ends instead of answering.
import { parentPort } from 'node:worker_threads'

parentPort?.once('message', () => process.exit(7))
