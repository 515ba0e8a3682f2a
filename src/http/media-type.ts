/**
 * What browsers may be told a file is. A short list of what they show without running any of it: markup and script are text like
 * all other text, and what is not in the list is bytes. Types that carry script (HTML, SVG, XML, XSLT, JavaScript) must never be added.
 */
const text = 'text/plain; charset=utf-8'
const json = 'application/json; charset=utf-8'

const groups: Readonly<Record<string, string>> = {
  [text]:
    'txt md markdown rst tex log csv tsv jsonl ndjson yaml yml toml ini cfg conf env lock diff patch ' +
    'html htm xhtml xht shtml svg xml xsl xslt rss atom rdf mathml mml htc js mjs cjs jsx ts tsx css scss map vue wat ' +
    'py pyi ipynb c h cc cpp hpp cu cuh rs go java kt swift rb php pl lua r jl sh bash zsh ps1 bat sql proto cmake gradle ' +
    'gitattributes gitignore gitmodules gitkeep dockerignore editorconfig license readme dockerfile makefile jinja jinja2 j2 srt vtt',
  [json]: 'json geojson webmanifest',
  'image/png': 'png apng',
  'image/jpeg': 'jpg jpeg jpe jfif',
  'image/gif': 'gif',
  'image/webp': 'webp',
  'image/avif': 'avif',
  'image/bmp': 'bmp',
  'image/tiff': 'tif tiff',
  'image/x-icon': 'ico',
  'audio/mpeg': 'mp3',
  'audio/wav': 'wav',
  'audio/flac': 'flac',
  'audio/ogg': 'ogg oga opus',
  'audio/aac': 'aac',
  'audio/mp4': 'm4a',
  'video/mp4': 'mp4 m4v',
  'video/webm': 'webm',
  'video/quicktime': 'mov',
  'video/x-matroska': 'mkv',
  'application/pdf': 'pdf',
  'application/zip': 'zip',
  'application/gzip': 'gz tgz',
  'font/woff2': 'woff2',
  'font/woff': 'woff',
  'font/ttf': 'ttf',
}

const types: ReadonlyMap<string, string> = new Map(
  Object.entries(groups).flatMap(([type, extensions]) => extensions.split(' ').map((extension) => [extension, type])),
)

export const plainText = text
export const unknownType = 'application/octet-stream'

/** The media type by the end of a file's name, or by the whole of it (`README`, `Dockerfile`). */
export function mediaType(fileName: string): string {
  const end = fileName.slice(fileName.lastIndexOf('.') + 1).toLowerCase()
  return types.get(end) ?? unknownType
}

/** What a browser can show by itself while it is locked in; a PDF it cannot. */
export const isShown = (type: string): boolean => /^(text|image|audio|video)\//.test(type) || type === json
