package filter

import (
	"fmt"
	"strconv"
	"strings"
)

type tokenKind uint8

const (
	end     tokenKind = iota
	word              // names, dotted addresses, ranges: letters, digits, '.', '-', '_'
	quoted            // a word behind a backslash: a name, even if it is a keyword too
	numeral           // a word that is a number
	address           // what has colons: IPv6 or MAC
	symbol
)

type token struct {
	kind     tokenKind
	text     string
	position int
	value    uint32 // of a numeral
	closing  int    // of a "(": the index of the token that closes it, or 0
}

func (t token) is(texts ...string) bool {
	if t.kind != symbol && t.kind != word {
		return false
	}
	for _, s := range texts {
		if t.text == s {
			return true
		}
	}
	return false
}

// longSymbols come before the single characters that they begin with.
var longSymbols = [...]string{"&&", "||", "!=", "==", "<=", ">=", "<<", ">>"}

func isWordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '.' || c == '-'
}

func isHexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// lex splits an expression; the last token is the end.
func lex(s string) ([]token, error) {
	var tokens []token
	var open []int
	for i := 0; i < len(s); {
		c := s[i]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			i++
			continue
		}
		t := token{kind: symbol, position: i}
		switch n := colonedLength(s[i:]); {
		case n > 0:
			t.kind, t.text = address, s[i:i+n]
		case c == '\\':
			n := wordLength(s[i+1:])
			if n == 0 {
				return nil, &Error{Position: i, Message: "a backslash stands before a name"}
			}
			t.kind, t.text = quoted, s[i+1:i+1+n]
			i++ // over the backslash
		case wordLength(s[i:]) > 0:
			t.kind, t.text = word, s[i:i+wordLength(s[i:])]
			if err := t.number(); err != nil {
				return nil, err
			}
		default:
			t.text = symbolAt(s[i:])
			if t.text == "" {
				r := []rune(s[i:])[0]
				return nil, &Error{Position: i, Message: fmt.Sprintf("%q has no meaning here", r)}
			}
		}
		i += len(t.text)
		switch t.text {
		case "(":
			open = append(open, len(tokens))
		case ")":
			if len(open) == 0 {
				return nil, &Error{Position: t.position, Message: `this ")" closes nothing`}
			}
			tokens[open[len(open)-1]].closing = len(tokens)
			open = open[:len(open)-1]
		}
		tokens = append(tokens, t)
	}
	if len(open) > 0 {
		return nil, &Error{Position: tokens[open[len(open)-1]].position, Message: `this "(" is never closed`}
	}
	return append(tokens, token{position: len(s)}), nil
}

func symbolAt(s string) string {
	for _, l := range longSymbols {
		if strings.HasPrefix(s, l) {
			return l
		}
	}
	if strings.IndexByte("()[]!=<>&|+-*/%^:", s[0]) >= 0 {
		return s[:1]
	}
	return ""
}

// wordLength is the length of the word that s begins with. A word begins with a
// letter or a digit and doesn't end in "-", so that "len -4" and "]-4" are sums.
func wordLength(s string) int {
	if s == "" || s[0] == '-' || s[0] == '.' || s[0] == '_' {
		return 0
	}
	n := 0
	for n < len(s) && isWordByte(s[n]) {
		n++
	}
	for n > 0 && s[n-1] == '-' {
		n--
	}
	return n
}

// colonedLength is the length of the IPv6 or MAC address, sound or not, that s
// begins with. One colon makes no address: it is the size in "tcp[2:2]".
func colonedLength(s string) int {
	n, colons := 0, 0
	for n < len(s) && (isHexDigit(s[n]) || s[n] == ':' || s[n] == '.') {
		if s[n] == ':' {
			colons++
		}
		n++
	}
	if colons < 2 {
		return 0
	}
	for n < len(s) && (isWordByte(s[n]) || s[n] == ':') {
		n++
	}
	return n
}

// number makes a word that is one a numeral. As in C, 0x is hexadecimal and a
// leading 0 octal.
func (t *token) number() error {
	digits, base := t.text, 10
	switch {
	case strings.HasPrefix(digits, "0x"), strings.HasPrefix(digits, "0X"):
		digits, base = digits[2:], 16
	case len(digits) > 1 && digits[0] == '0':
		base = 8
	}
	for _, c := range []byte(digits) {
		if !isHexDigit(c) || base < 16 && c > '9' {
			return nil
		}
	}
	if t.couldBeMAC() {
		return nil
	}
	v, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return &Error{Position: t.position, Message: fmt.Sprintf("%s is no number of 32 bits", t.text)}
	}
	t.kind, t.value = numeral, uint32(v)
	return nil
}

// couldBeMAC is true for the twelve digits of a MAC address without separators.
func (t *token) couldBeMAC() bool { return len(t.text) == 12 && t.text[1] != 'x' && t.text[1] != 'X' }

// parseMAC reads the ways to write a MAC address that tcpdump knows: six parts
// with ':', '-' or '.', three parts with '.', or twelve digits.
func parseMAC(s string) (mac [6]byte, ok bool) {
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '-' || r == '.' })
	digits := ""
	for _, p := range parts {
		if len(parts) == 6 && len(p) == 1 {
			p = "0" + p
		}
		if len(p)*len(parts) != 12 {
			return mac, false
		}
		digits += p
	}
	if len(digits) != 12 || len(parts) != 6 && len(parts) != 3 && len(parts) != 1 || strings.Count(s, ":")+strings.Count(s, "-")+strings.Count(s, ".") != len(parts)-1 {
		return mac, false
	}
	for i := range mac {
		v, err := strconv.ParseUint(digits[2*i:2*i+2], 16, 8)
		if err != nil {
			return mac, false
		}
		mac[i] = byte(v)
	}
	return mac, true
}
