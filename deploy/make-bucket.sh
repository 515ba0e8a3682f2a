#!/bin/sh
# Makes the bucket CAIRN_S3_BUCKET unless it is there. The hub does not: its key need not be allowed to.
set -eu
address="$CAIRN_S3_ENDPOINT/$CAIRN_S3_BUCKET"

# The key comes by standard input: arguments can be read by every process of the machine.
call() {
  printf 'user = "%s:%s"\n' "$CAIRN_S3_ACCESS_KEY" "$CAIRN_S3_SECRET_KEY" |
    curl --config - --silent --show-error --output /dev/null --write-out '%{http_code}' --retry 10 --retry-connrefused \
      --aws-sigv4 "aws:amz:$CAIRN_S3_REGION:s3" "$@" "$address"
}

status=$(call --head)
if [ "$status" = 404 ]; then
  status=$(call --request PUT)
fi
case "$status" in
  200) echo "the bucket $CAIRN_S3_BUCKET is there" ;;
  *) echo "the bucket $CAIRN_S3_BUCKET is not there: $CAIRN_S3_ENDPOINT answered with $status" >&2; exit 1 ;;
esac
