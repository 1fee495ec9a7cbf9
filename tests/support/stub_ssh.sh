#!/bin/sh
# A connector in place of ssh, for tests: passes over its options and the host, and runs the command here.
while :; do
    case $1 in
        -[oiplSLRDFJ]) shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
STUB_HOST=$1
export STUB_HOST
shift
exec sh -c "$*"
