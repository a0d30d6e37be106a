package labs

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// SyntaxError says what is wrong with a command and where.
type SyntaxError struct {
	// Column counts characters from 1.
	Column  int
	Message string
	// Suggestion is what could be written instead, a word or a whole command;
	// it may be empty.
	Suggestion string
}

func (e *SyntaxError) Error() string {
	s := fmt.Sprintf("column %d: %s", e.Column, e.Message)
	if e.Suggestion != "" {
		s += fmt.Sprintf(" (did you mean %q?)", e.Suggestion)
	}
	return s
}

// maxCommand bounds a command line in bytes: a lab file is not trusted.
const maxCommand = 4096

// word is one word of a command line after quotes are taken away. An operator
// is an unquoted >, | or &.
type word struct {
	text     string
	column   int
	operator bool
}

// split cuts a line into words as a POSIX shell does, but expands nothing:
// what a shell would replace is refused, so that what is shown is what is run.
func split(line string) ([]word, *SyntaxError) {
	if len(line) > maxCommand {
		return nil, &SyntaxError{1, fmt.Sprintf("a command of %d bytes is too long: %d are allowed", len(line), maxCommand), ""}
	}
	var (
		words   []word
		text    strings.Builder
		started bool // a word is under way, perhaps still empty: ''
		start   int
		quote   rune
		opened  int
	)
	begin := func(column int) {
		if !started {
			started, start = true, column
		}
	}
	end := func() {
		if started {
			words = append(words, word{text: text.String(), column: start})
			text.Reset()
			started = false
		}
	}
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		r, column := runes[i], i+1
		at := func(suggestion, format string, a ...any) *SyntaxError {
			return &SyntaxError{column, fmt.Sprintf(format, a...), suggestion}
		}
		switch {
		case r == utf8.RuneError:
			return nil, at("", "this is not valid UTF-8")
		case r < ' ' && r != '\t' || r == 0x7f:
			return nil, at("", "a command is one line without control characters")
		case quote == '\'' && r != '\'', quote == '"' && r != '"' && r != '\\' && r != '$' && r != '`':
			text.WriteRune(r)
		case quote != 0 && r == quote:
			quote = 0
		case r == '$' || r == '`':
			return nil, at("", "variables and command substitution are not replaced here: write the value itself")
		case r == '\\':
			begin(column)
			i++
			if i == len(runes) {
				return nil, at("", "the backslash at the end escapes nothing")
			}
			if quote == '"' && !strings.ContainsRune("$`\"\\", runes[i]) {
				text.WriteRune('\\')
			}
			if runes[i] < ' ' || runes[i] == utf8.RuneError {
				i-- // judged by the next round
				continue
			}
			text.WriteRune(runes[i])
		case r == '\'' || r == '"':
			begin(column)
			quote, opened = r, column
		case r == ' ' || r == '\t':
			end()
		case r == '#' && !started:
			return words, nil
		case r == '&' && i+1 < len(runes) && runes[i+1] == '&', r == ';':
			return nil, at("", "one command at a time: write each on its own line")
		case strings.ContainsRune("<()", r):
			return nil, at("", "%q has a meaning for a shell that is not supported here: quote it if you mean the character", r)
		case strings.ContainsRune(">|&", r):
			end()
			words = append(words, word{string(r), column, true})
		default:
			begin(column)
			text.WriteRune(r)
		}
	}
	if quote != 0 {
		return nil, &SyntaxError{opened, "this quote is never closed", ""}
	}
	end()
	return words, nil
}

// nearest finds the candidate that the author of got most likely meant, or "".
func nearest(got string, candidates []string) string {
	best, least := "", 3
	for _, c := range candidates {
		if d := distance(got, c); d < least && 2*d <= max(len(got), len(c)) {
			best, least = c, d
		}
	}
	return best
}

// distance is how many letters must be changed, added, dropped or swapped with
// their neighbour to turn a into b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
