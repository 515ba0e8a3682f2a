import type { Bench, Row } from './stage.js'

export async function* bigBench(_bench: Bench): AsyncGenerator<Row> {}
