import t from 'tap'
import { findSwift } from '../support/tools/swift.js'
import { s3Contract } from './s3-contract.js'

await s3Contract(t, await findSwift())
