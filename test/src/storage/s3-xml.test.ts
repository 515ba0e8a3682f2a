import t from 'tap'
import {
  completeUploadXml,
  findErrorCode,
  parseCopiedTag,
  parseObjectList,
  parsePartList,
  parseTag,
  parseUploadId,
} from '../../../src/storage/s3-xml.js'

const head = '<?xml version="1.0" encoding="UTF-8"?>\n'
const namespace = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

t.test('an error is found by its code, whatever the status', async (t) => {
  t.equal(findErrorCode(`${head}<Error><Code>NoSuchKey</Code><Message>no &lt;key&gt;</Message></Error>`), 'NoSuchKey')
  t.equal(findErrorCode(`   \n ${head}<Error><Code>InternalError</Code></Error>`), 'InternalError')
  t.equal(findErrorCode('<Error><Message>nothing more</Message></Error>'), 'unknown')
  for (const text of ['', '<html><body>Bad Gateway</body></html>', `<CopyObjectResult ${namespace}><ETag>"x"</ETag></CopyObjectResult>`]) {
    t.equal(findErrorCode(text), undefined, text)
  }
})

t.test('uploads, copies and tags are read as stores write them', async (t) => {
  t.equal(parseUploadId(`${head}<InitiateMultipartUploadResult ${namespace}><UploadId>0123</UploadId></InitiateMultipartUploadResult>`), '0123')
  t.equal(parseCopiedTag(`${head}<CopyPartResult ${namespace}><ETag>&#34;00ab&#34;</ETag></CopyPartResult>`), '00ab')
  t.equal(parseCopiedTag('<CopyPartResult><ETag>&quot;00ab&quot;</ETag></CopyPartResult>'), '00ab')
  t.equal(parseTag('"00ab-2"'), '00ab-2')
  for (const text of ['', 'nonsense', '<InitiateMultipartUploadResult/>', '<Other><UploadId>1</UploadId></Other>']) {
    t.throws(() => parseUploadId(text), { name: 'HubError', code: 'unavailable' }, text)
  }
})

t.test('lists come in pages', async (t) => {
  const contents = '<Contents><Key>packs/00/01.pack</Key><LastModified>2026-11-23T10:20:30.987Z</LastModified><Size>17</Size></Contents>'
  t.same(
    parseObjectList(
      `<ListBucketResult ${namespace}><IsTruncated>true</IsTruncated><NextContinuationToken>a+b=</NextContinuationToken>${contents}</ListBucketResult>`,
    ),
    { objects: [{ key: 'packs/00/01.pack', bytes: 17, modifiedAt: new Date('2026-11-23T10:20:30Z') }], next: 'a+b=' },
  )
  t.same(parseObjectList(`<ListBucketResult><IsTruncated>false</IsTruncated>${contents}${contents}</ListBucketResult>`).objects.length, 2)
  t.same(parseObjectList('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'), { objects: [], next: undefined })
  t.throws(() => parseObjectList('<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>'), { code: 'unavailable' })
  const part = '<Part><PartNumber>2</PartNumber><ETag>"aa"</ETag><Size>5</Size></Part>'
  t.same(parsePartList(`<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>2</NextPartNumberMarker>${part}</ListPartsResult>`), {
    parts: [{ number: 2, bytes: 5, tag: 'aa' }],
    next: '2',
  })
})

t.test('what is asked for is escaped', async (t) => {
  t.equal(
    completeUploadXml([
      { number: 1, tag: 'aa' },
      { number: 2, tag: '"<&' },
    ]),
    '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Part><PartNumber>1</PartNumber><ETag>&quot;aa&quot;</ETag></Part>' +
      '<Part><PartNumber>2</PartNumber><ETag>&quot;&#34;&#60;&#38;&quot;</ETag></Part></CompleteMultipartUpload>',
  )
})
