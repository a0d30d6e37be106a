package jail

// etcFiles is what /etc has in every machine.
var etcFiles = map[string]string{
	"passwd": `root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
tcpdump:x:103:105::/nonexistent:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
`,
	"group": `root:x:0:
daemon:x:1:
tty:x:5:
utmp:x:43:
tcpdump:x:105:
nogroup:x:65534:
`,
	"nsswitch.conf": `passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
ethers: files
`,
	// Where a world has an internet, this is in it.
	"resolv.conf": `nameserver 8.8.8.8
options timeout:1 attempts:1
`,
	"bash.bashrc": `# Tell in the prompt on which machine, and in which of its namespaces, this shell is.
if [ -n "$PS1" ]; then
  netns=
  for file in /run/netns/*; do # without a program: a prompt should come at once
    [ "$file" -ef /proc/self/ns/net ] && netns=${file##*/}
  done
  PS1='\u@\h'"${netns:+[$netns]}"':\w\$ '
  unset netns file
  shopt -s checkwinsize histappend
  HISTCONTROL=ignoredups PROMPT_COMMAND='history -a' # all shells of a machine share it
  alias ls='ls --color=auto' grep='grep --color=auto'
  completion=/usr/share/bash-completion/bash_completion
  if [ -r $completion ]; then # it takes longer than all the rest, so it is read at the first Tab
    complete_first() {
      unset -f complete_first
      . $completion && _completion_loader "$@"
    }
    complete -D -F complete_first
  fi
fi
`,
	"sysctl.conf": "# What sysctl -p sets.\n\n", // the empty line, so that editors don't go on with the comment
	// Debian's makes a small vim as vi once was, in which arrow keys write letters.
	"vim/vimrc.tiny": "set nocompatible backspace=indent,eol,start\n",
	"profile": `PATH=/opt/kabel/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
[ -n "$BASH" ] && . /etc/bash.bashrc
`,
	"pam.d/su":    pamPermit,
	"pam.d/su-l":  pamPermit,
	"pam.d/other": pamPermit,
}

// Nobody in a machine has a password.
const pamPermit = `auth sufficient pam_permit.so
account sufficient pam_permit.so
session sufficient pam_permit.so
password sufficient pam_permit.so
`

// etcFromHost are read-only tables, the same everywhere.
var etcFromHost = []string{"protocols", "services", "ethertypes", "networks", "rpc", "host.conf", "gai.conf",
	"inputrc", "manpath.config", "nanorc", "vim/vimrc", "login.defs", "os-release", "debian_version", "ld.so.cache"}

// stubs stand early in PATH, for commands of tutorials that have no meaning in a
// machine. They say what is true and do nothing else.
var stubs = map[string]string{
	"sudo": `#!/bin/sh
# Everybody is root here: run what was asked for.
while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    -[ughpCrtTDR]) shift 2 ;;
    -i|-s) shift; [ $# -eq 0 ] && set -- "${SHELL:-/bin/bash}" ;;
    -*) shift ;;
    *) break ;;
  esac
done
[ $# -eq 0 ] && exit 0
exec env -- "$@"
`,
	"vim": `#!/bin/sh
[ -x /usr/bin/vim ] && exec /usr/bin/vim "$@"
exec vim.tiny "$@"
`,
	"modprobe": `#!/bin/sh
# The kernel is shared: what it can do is there already, what it can't can't be loaded.
for m; do
  case $m in
    -*) continue ;;
    br_netfilter) [ -e /proc/sys/net/bridge ] && continue ;;
    ip_tables|iptable_*|ip6_tables|nf_*|xt_*|nft_*|overlay|tun|veth|bridge) continue ;;
    *) [ -d "/sys/module/$m" ] && continue ;;
  esac
  echo "modprobe: $m: a machine of a lab can't load modules into the shared kernel" >&2
  exit 1
done
`,
	"lsmod": `#!/bin/sh
echo "lsmod: the kernel is shared with the real machine; its modules are not shown in a lab" >&2
exit 1
`,
	"systemctl": `#!/bin/sh
echo "systemctl: no services are managed on this machine; start programs directly" >&2
exit 1
`,
}
