import type { RepoType } from '../db/repositories.js'

/** What the Hub's own new repositories keep in git-lfs. */
const weights = [
  '*.7z',
  '*.arrow',
  '*.bin',
  '*.bz2',
  '*.ckpt',
  '*.ftz',
  '*.gz',
  '*.h5',
  '*.joblib',
  '*.lfs.*',
  '*.mlmodel',
  '*.model',
  '*.msgpack',
  '*.npy',
  '*.npz',
  '*.onnx',
  '*.ot',
  '*.parquet',
  '*.pb',
  '*.pickle',
  '*.pkl',
  '*.pt',
  '*.pth',
  '*.rar',
  '*.safetensors',
  'saved_model/**/*',
  '*.tar.*',
  '*.tar',
  '*.tflite',
  '*.tgz',
  '*.wasm',
  '*.xz',
  '*.zip',
  '*.zst',
  '*tfevents*',
]
const media = [
  '*.lz4',
  '*.mds',
  '*.pcm',
  '*.sam',
  '*.raw',
  '*.aac',
  '*.flac',
  '*.mp3',
  '*.ogg',
  '*.wav',
  '*.bmp',
  '*.gif',
  '*.png',
  '*.tiff',
  '*.jpg',
  '*.jpeg',
  '*.webp',
  '*.mp4',
  '*.webm',
]

/** Text of the `.gitattributes` in a new repository's first commit. */
export function defaultAttributes(type: RepoType): string {
  const patterns = type === 'dataset' ? [...weights, ...media] : weights
  return patterns.map((pattern) => `${pattern} filter=lfs diff=lfs merge=lfs -text\n`).join('')
}
