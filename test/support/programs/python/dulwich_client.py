"""One step of dulwich: clone URL FOLDER DEPTH FILTER, fetch FOLDER DEPTH, push FOLDER REFSPEC…"""

import io
import sys

from dulwich import porcelain


def clone(url, folder, depth, filter_spec):
    # Older releases know no filters. Without blobs there is nothing to check out.
    options = {"filter_spec": filter_spec, "checkout": False} if filter_spec else {}
    porcelain.clone(url, folder, depth=int(depth) or None, errstream=io.BytesIO(), **options)


def fetch(folder, depth):
    porcelain.fetch(folder, "origin", depth=int(depth) or None, outstream=io.StringIO(), errstream=io.BytesIO())


def push(folder, *refspecs):
    said = io.BytesIO()
    refs = [spec.encode() for spec in refspecs]
    result = porcelain.push(folder, "origin", refs, outstream=io.BytesIO(), errstream=said)
    refused = {ref: error for ref, error in ((result and result.ref_status) or {}).items() if error}
    if refused:
        raise SystemExit(f"{refused}: {said.getvalue().decode()}")


steps = {"clone": clone, "fetch": fetch, "push": push}
steps[sys.argv[1]](*sys.argv[2:])
