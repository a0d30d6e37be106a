// Package labs knows what a lab is: it loads the files that authors write,
// checks every part of them, turns their commands into ops, decides by a
// snapshot whether a step is done, and serves their texts in the learner's
// language. It must not touch a kernel, a world or a session: it sees only
// what it is given.
package labs
