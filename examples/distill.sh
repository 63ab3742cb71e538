#!/bin/sh
# A training set from a ranked run, and the same in other trainers' formats. After rerank.sh.
set -eu
here=$(dirname "$0")
work=out/examples

rerank distill -c "$here/distill.yaml"

# A set is made once and exported as often as wanted.
set_folder=$(echo "$work"/sets/????????????????)
rerank export "$set_folder" --format tevatron
rerank export "$set_folder" --format flag_embedding
