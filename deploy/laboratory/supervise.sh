#!/bin/bash
# supervise.sh DIRECTORY NAME COMMAND...: runs COMMAND in a session of its own, and again 2 s after it ended. SIGTERM ends both.
# DIRECTORY/NAME.pid has the number of this process. For machines without a service manager.
directory=$1 name=$2
shift 2
stopping=
echo $$ > "$directory/$name.pid"
stop() {
  stopping=1
  kill -TERM "$child" 2>/dev/null
  # Some services do not end on SIGTERM (neutron-openvswitch-agent).
  for _ in $(seq 1 ${STOP_SECONDS:-8}0); do kill -0 "$child" 2>/dev/null || break; sleep 0.1; done
  kill -KILL -- "-$child" 2>/dev/null
}
trap stop TERM INT
while :; do
  setsid "$@" &
  child=$!
  wait "$child"
  code=$?
  while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
  [ -n "$stopping" ] && break
  echo "supervise: $name ended with $code, it is started again"
  sleep 2 & wait $!
  [ -n "$stopping" ] && break
done
rm -f "$directory/$name.pid"
