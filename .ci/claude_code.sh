# Sourced by .ci/run.
# shellcheck shell=bash

# Set CLAUDE_CODE_BIN to the real client, installed by name into a cache outside the tree. Fails when there is no npm.
find_claude_code() {
    # Without a version npm picks an old release on older releases of Node.
    local version=${CLAUDE_CODE_VERSION:-2.1.330} machine=x64 folder
    case $(uname -m) in aarch64 | arm64) machine=arm64 ;; esac
    folder=${XDG_CACHE_HOME:-$HOME/.cache}/wolfgate-ci/claude_code/$version
    CLAUDE_CODE_BIN=$folder/node_modules/@anthropic-ai/claude-code-linux-$machine/claude
    if [ -x "$CLAUDE_CODE_BIN" ]; then
        return 0
    fi
    if ! command -v npm >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -qq -y nodejs npm >/dev/null
    fi
    if ! command -v npm >/dev/null; then
        return 1
    fi
    mkdir -p "$folder"
    npm install --silent --no-audit --no-fund --prefix "$folder" "@anthropic-ai/claude-code@$version" || exit 1
    if [ ! -x "$CLAUDE_CODE_BIN" ]; then
        echo "npm installed the client, but not $CLAUDE_CODE_BIN" >&2
        exit 1
    fi
}
