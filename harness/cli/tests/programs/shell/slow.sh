# Adds a line to a file, slowly: slow.sh FILE LINE. Whoever calls it may hold a lock.
{ cat "$1"; echo "$2"; } > "$1.$$"
sleep 3
mv "$1.$$" "$1"
