//go:build race || canary

package sim

// worlds are those of a run under the race detector, where a step takes ten
// times as long and nothing runs beside anything else, and those that must be
// clean when no planted bug is active.
var worlds = smallWorlds
