# Sourced by the scripts beside this file: apt-get with lists of its own, which leaves those of the machine as they are.

# private_apt FOLDER KIND RELEASE [OPTION]...: sets the array `apt`, a command that knows packages (KIND deb) or their
# sources (deb-src) from where the machine itself gets its packages; RELEASE is `same` or the name of another one.
# Everything it writes is below FOLDER.
private_apt() {
    local folder="$1" kind="$2" wanted="$3" system release entry targets
    shift 3
    system="$(. /etc/os-release && echo "$ID")"
    release="$(. /etc/os-release && echo "$VERSION_CODENAME")"
    [[ "$wanted" != same ]] || wanted="$release"
    mkdir -p "$folder/lists/partial" "$folder/archives/partial"
    entry="$kind [signed-by=/usr/share/keyrings/$system-archive-keyring.gpg] \$(REPO_URI) $wanted \$(COMPONENT)"
    targets=(indextargets --format "$entry" "Created-By: Packages" "Release: $release" "Component: main")
    apt-get "${targets[@]}" | sort -u >"$folder/sources.list"
    if [[ ! -s "$folder/sources.list" ]]; then
        # The machine has read none of its own lists yet.
        apt-get -qq -o "Dir::State::lists=$folder/lists" update
        apt-get -o "Dir::State::lists=$folder/lists" "${targets[@]}" | sort -u >"$folder/sources.list"
    fi
    if [[ ! -s "$folder/sources.list" ]]; then
        echo "apt-get knows no packages of $release" >&2
        return 1
    fi
    apt=(apt-get -qq -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$folder/lists" -o "Dir::Cache=$folder" -o Acquire::Languages=none "$@")
    "${apt[@]}" update
}
