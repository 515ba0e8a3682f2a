import t from 'tap'
import { findMinio } from '../support/tools/minio.js'
import { s3Contract } from './s3-contract.js'

await s3Contract(t, await findMinio())
