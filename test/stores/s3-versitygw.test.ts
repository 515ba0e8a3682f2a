import t from 'tap'
import { findVersitygw } from '../support/tools/versitygw.js'
import { s3Contract } from './s3-contract.js'

await s3Contract(t, await findVersitygw())
