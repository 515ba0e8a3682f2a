import type { RepoPath } from '../db/versions.js'
import { html, type Html } from './html.js'
import { uploadLimits } from './upload-body.js'
import type { Urls } from './urls.js'

/** What the form shows: what was typed before, if it was. */
export interface UploadForm {
  readonly repo: RepoPath
  readonly branch: string
  /** To choose from. */
  readonly branches: readonly string[]
  readonly folder: string
  readonly summary: string
  readonly description: string
  readonly formToken: string
  readonly complaint?: string | undefined
  readonly notice?: Html | undefined
}

/** Branches a browser gets to choose from; others are typed. */
const maxShownBranches = 200

/** The page's body. Fields come before files, so that the hub knows what a file is for before it arrives. */
export const renderUploadForm = (form: UploadForm, urls: Urls): Html => {
  const { repo, branch, branches, folder, summary, description, formToken, complaint, notice } = form
  return html`<h1>Upload files to <bdi>${repo.namespace}/${repo.name}</bdi></h1>
<p class="lead">They become one commit. Large files, and those that <code>.gitattributes</code> names, are kept in Git LFS.</p>
${complaint !== undefined && html`<p class="notice bad" role="alert">${complaint}</p>`}
${notice && html`<p class="notice good" role="status">${notice}</p>`}
<form class="card" method="post" enctype="multipart/form-data" action="${urls.upload(repo)}">
<input type="hidden" name="csrf" value="${formToken}">
<div class="field">
<label for="branch">Branch</label>
<input id="branch" name="branch" value="${branch}" required maxlength="200" list="branches" autocomplete="off" spellcheck="false" aria-describedby="branch-hint">
<datalist id="branches">${branches.slice(0, maxShownBranches).map((name) => html`<option value="${name}"></option>`)}</datalist>
<p class="hint" id="branch-hint">One that does not exist is made.</p>
</div>
<div class="field">
<label for="folder">Folder</label>
<input id="folder" name="folder" value="${folder}" maxlength="1000" autocomplete="off" spellcheck="false" aria-describedby="folder-hint">
<p class="hint" id="folder-hint">Where in the repository the files go, such as <code>data/train</code>. Empty: the top.</p>
</div>
<div class="field">
<label for="summary">Commit message</label>
<input id="summary" name="summary" value="${summary}" maxlength="200" autocomplete="off" aria-describedby="summary-hint">
<p class="hint" id="summary-hint">Empty: it says what was uploaded.</p>
</div>
<div class="field">
<label for="description">Description</label>
<textarea id="description" name="description" maxlength="10000" aria-describedby="description-hint">
${description}</textarea>
<p class="hint" id="description-hint">Optional: why.</p>
</div>
<div class="field">
<label for="files">Files</label>
<input id="files" name="files" type="file" multiple required aria-describedby="files-hint">
<p class="hint" id="files-hint">Up to ${uploadLimits.files} at once. A file that is there already is replaced.</p>
</div>
<button>Upload and commit</button>
</form>`
}
