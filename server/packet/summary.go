package packet

// Summary is a packet in one line, as in a list of packets. Protocol, Source and
// Destination are those of the innermost packet that says something; where it
// rides in a tunnel or a VLAN, the end of Info names it.
type Summary struct {
	// Protocol is ICMP, ARP, TCP, DNS, …; Ethernet or IPv4 where nothing inside is
	// known.
	Protocol    string
	Source      string
	Destination string
	Info        string
}

// Summarise says in one line what a frame is.
func Summarise(f *Frame) Summary {
	d := walk{frame: f, data: f.Data}
	d.info = make([]byte, 0, 160)
	d.start()
	return d.summary()
}

// Layer is one header of a packet, or what follows the last one, with the bytes
// of Frame.Data that it stands for.
type Layer struct {
	Name    string  `json:"name"`
	Summary string  `json:"summary"`
	Offset  int     `json:"offset"`
	Length  int     `json:"length"`
	Fields  []Field `json:"fields"`
}

// Field is one value of a layer and the bytes that it is read from. They lie
// inside its layer.
type Field struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Offset int    `json:"offset"`
	Length int    `json:"length"`
	// Bits shows which bits of those bytes it is, the others as dots, in fours:
	// ".1.. ....".
	Bits string `json:"bits,omitempty"`
}

// Dissect is the tree of a frame's layers, from the outside in. Of a frame that
// was not kept whole it shows what is there and says that it is cut.
func Dissect(f *Frame) []Layer {
	d := walk{frame: f, data: f.Data, tree: true, layers: make([]Layer, 0, 8)}
	d.start()
	return d.layers
}
