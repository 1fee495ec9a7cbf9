#!/bin/sh
# In place of ssh, as a connector of TakTuk's: runs the command here, in the shell that stands for that of the host.
while :; do
    case $1 in
        -[oil]) shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
shift
unset TAKTUK_HOSTNAME TAKTUK_RANK TAKTUK_COUNT TAKTUK_POSITION TAKTUK_FATHER TAKTUK_CHILD_MIN TAKTUK_CHILD_MAX TAKTUK_PIDS
SHELL=/bin/sh exec /bin/sh -c "$*"
