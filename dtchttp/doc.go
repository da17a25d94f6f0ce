// Package dtchttp lets services take part in transactions over HTTP, in whatever
// language they are written.
//
// [NewParticipant] is a participant of the library that calls a service: prepare,
// commit and rollback are POST requests with JSON bodies below a base URL of the
// service's, and in-doubt is a GET request that lists what it holds. It is listing
// while the service answers that one.
//
// [NewParticipantHandler] serves any participant of the library, one made by package
// guard above all, to such callers.
//
// [NewControlHandler] serves the other side: whoever drives transactions begins, ends and
// looks at them through a coordinator's control API, with [NewClient] from Go. A program
// that serves it without [ControlOptions.Authenticate] should refuse requests from web pages
// of other origins before they get there ([net/http.CrossOriginProtection]), also on
// loopback; `dtc serve` does.
//
// What goes over the wire means to the coordinator what it would mean in its own
// process. Whatever is no answer (a lost connection, a timeout, an answer that no
// service of ours gives) is called again; only a complete and well-formed answer is
// believed.
package dtchttp
