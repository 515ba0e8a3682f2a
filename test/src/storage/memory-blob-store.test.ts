import t from 'tap'
import { createMemoryBlobStore } from '../../../src/storage/memory-blob-store.js'
import { blobStoreContract, filePutContract, multipartContract, promoteContract } from '../../contracts/blob-store.js'

async function openStore() {
  const store = createMemoryBlobStore()
  const contents = async () => {
    const keys: string[] = []
    for await (const { key } of store.list('')) keys.push(key)
    return keys
  }
  return { store, contents }
}

blobStoreContract(t, openStore)
filePutContract(t, openStore)
promoteContract(t, openStore)
multipartContract(t, openStore)
