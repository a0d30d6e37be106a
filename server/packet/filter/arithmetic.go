package filter

// largestIndex bounds the places that can be asked for. No packet is longer.
const largestIndex = 65535

// relation reads "sum compare sum".
func (p *parser) relation() (node, error) {
	start := p.peek()
	p.last = qualifiers{}
	left, err := p.arithmetic(0)
	if err != nil {
		return nil, err
	}
	compare := p.peek()
	if !p.accept("=", "==", "!=", "<", ">", "<=", ">=") {
		return nil, unknownIn(compare, "a comparison such as = or >")
	}
	right, err := p.arithmetic(0)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.is("=", "==", "!=", "<", ">", "<=", ">=") {
		return nil, fault(t, "", "only two values can be compared")
	}
	text := compare.text
	if text == "=" {
		text = "=="
	}
	return relation{compare: text, left: left, right: right, position: start.position}, nil
}

// unknownIn is unknown for the inside of arithmetic.
func unknownIn(t token, wanted string) error {
	if t.kind == end {
		return unknown(t, wanted)
	}
	s := ""
	if t.kind == word {
		var names []string
		for c := range constants {
			names = append(names, c)
		}
		s = nearest(t.text, names)
	}
	return fault(t, s, "%q stands where %s should", t.text, wanted)
}

// precedence lists the operators, those that bind loosest first, as in C.
var precedence = [...][]string{{"|"}, {"^"}, {"&"}, {"<<", ">>"}, {"+", "-"}, {"*", "/", "%"}}

func (p *parser) arithmetic(level int) (value, error) {
	if level == len(precedence) {
		return p.factor()
	}
	left, err := p.arithmetic(level + 1)
	if err != nil {
		return nil, err
	}
	for {
		op := p.peek()
		if !p.accept(precedence[level]...) {
			return left, nil
		}
		right, err := p.arithmetic(level + 1)
		if err != nil {
			return nil, err
		}
		if left, err = fold(op, left, right); err != nil {
			return nil, err
		}
	}
}

func (p *parser) factor() (value, error) {
	t := p.take()
	switch {
	case t.is("("):
		v, err := p.arithmetic(0)
		if err != nil {
			return nil, err
		}
		if !p.accept(")") {
			return nil, unknownIn(p.peek(), `")"`)
		}
		return v, nil
	case t.is("-"):
		v, err := p.factor()
		if err != nil {
			return nil, err
		}
		return fold(token{kind: symbol, text: "-", position: t.position}, number(0), v)
	case t.is("len"):
		return length{}, nil
	case t.kind == numeral:
		return number(t.value), nil
	case t.kind == word:
		if c, ok := constants[t.text]; ok {
			return number(c), nil
		}
		if p.accept("[") {
			return p.access(t)
		}
	}
	return nil, unknownIn(t, "a number, len or bytes such as tcp[13]")
}

// access reads the rest of "tcp[0:2]".
func (p *parser) access(of token) (value, error) {
	if _, ok := accessible[of.text]; !ok {
		var names []string
		for n := range accessible {
			names = append(names, n)
		}
		return nil, fault(of, nearest(of.text, names), "%s has no bytes that can be asked for", of.text)
	}
	at := p.peek()
	index, err := p.arithmetic(0)
	if err != nil {
		return nil, err
	}
	if n, ok := index.(number); ok && n > largestIndex {
		return nil, fault(at, "", "no packet has a byte at %d", int32(n))
	}
	if _, ok := index.(number); !ok && accessible[of.text] == fromLink {
		return nil, fault(at, "", "the place in %s[…] must be a number", of.text)
	}
	a := access{of: of.text, index: index, size: 1, position: of.position}
	if p.accept(":") {
		t := p.take()
		if t.kind != numeral || t.value != 1 && t.value != 2 && t.value != 4 {
			return nil, fault(t, "", "1, 2 or 4 bytes can be asked for")
		}
		a.size = int(t.value)
	}
	if !p.accept("]") {
		return nil, unknownIn(p.peek(), `"]"`)
	}
	return a, nil
}

// fold works out what needs no packet.
func fold(op token, left, right value) (value, error) {
	r, known := right.(number)
	switch op.text {
	case "/", "%":
		if known && r == 0 {
			return nil, fault(op, "", "division by zero")
		}
	case "<<", ">>":
		// The kernel takes such a count modulo 32, libpcap makes 0 of the value.
		if !known || r > 31 {
			return nil, fault(op, "", "the count of a shift must be a number up to 31")
		}
	}
	l, alsoKnown := left.(number)
	if !known || !alsoKnown {
		return sum{op.text, left, right}, nil
	}
	switch op.text {
	case "+":
		l += r
	case "-":
		l -= r
	case "*":
		l *= r
	case "/":
		l /= r
	case "%":
		l %= r
	case "&":
		l &= r
	case "|":
		l |= r
	case "^":
		l ^= r
	case "<<":
		l <<= r
	case ">>":
		l >>= r
	}
	return l, nil
}
