# Sourced by recipes: what a stage made, cut into files of at most 16 MiB in the folder $pieces, if there is one.

pack() { # pack NAME FOLDER-OR-FILE, in $out: into NAME.tar.aa, NAME.tar.ab, ...
  [ -n "$pieces" ] || return 0
  mkdir -p "$pieces"
  tar cf "$pieces/.packing" -C "$out" "$2"  # a file, not a pipe: where tar fails, so does the recipe
  rm -f "$pieces/$1".tar.*
  split -b 16m "$pieces/.packing" "$pieces/$1.tar."
  rm "$pieces/.packing"
}
