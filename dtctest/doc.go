// Package dtctest helps to test what takes part in transactions, and what they
// are kept in: [TestParticipant] tells whether a participant keeps its promises,
// [TestOnePhaser] whether one that commits in one phase keeps those too, and
// [TestLog] whether a log does. [Flaky] makes the way to a participant bad, by
// chance from a seed or by a script, and [Memory] is a participant that keeps
// all promises in memory.
package dtctest
