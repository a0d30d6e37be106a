package labs

import "sync"

// BuiltInOnce is BuiltIn for tests that only read: with the race detector every
// load takes seconds.
var BuiltInOnce = sync.OnceValues(BuiltIn)
