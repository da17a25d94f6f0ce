package conformance

// What comes of a broken promise. Each is told with the finding that it explains.
const (
	whyNoVote = "Without a vote_commit the coordinator rolls every transaction with this participant back: nothing can ever be done with it."

	whyUnreachable = "A participant that does not answer makes every new transaction with it roll back at the prepare timeout, and leaves the others of a decided one waiting."

	whySameVote = "The coordinator asks again whenever an answer is lost. The first vote counts and others may have committed by it; " +
		"a second one that differs puts the branch into quarantine, and somebody has to find out by hand whether the money moved."

	whySecondEffect = "The coordinator repeats every call whose answer it did not get. An effect for each copy is money reserved, paid or given back twice."

	whyCommitFails = "After the decision the others have committed. A participant that voted vote_commit and does not commit tears the transaction: the goods are sent and nobody has paid."

	whyCommitAgain = "A commit is sent until it is acknowledged. One that is not acknowledged when it is repeated is sent for ever, and the transaction never ends."

	whyRollbackFails = "A rollback is sent until it is acknowledged. Until then the transaction does not end, and what was reserved stays reserved."

	whyLatePrepare = "A copy of a prepare that the network delayed comes after everybody else is done with the transaction. Nobody will ever finish it: what it reserves is lost, and a vote to commit for what was rolled back is a lie."

	whyUnknownCommit = "The acknowledgement makes the coordinator forget the transaction. If the branch is unknown because a backup was restored or a file was lost, that hides a payment which never happened, for good."

	whyOtherWay = "It is how a torn transaction is noticed. Acknowledged, it is counted as done as ordered, and that one side has committed and the other rolled back is found by the customer."

	whyOtherWaySilent = "The coordinator can only ask again: it never learns that the branch ended the other way, the transaction never ends, and nobody is shown the contradiction."

	whyAbortHolds = "A branch that voted vote_abort or read_only is left out of the second phase. What it still holds, nobody will ever free."

	whyForgets = "After vote_commit the others may already have committed. A participant that forgets its vote when it is killed cannot commit any more: the transaction is torn, and the money is gone on one side."

	whyForgetsRollback = "A rollback that is forgotten when the participant is killed lets a delayed prepare in afterwards, which nobody finishes."

	whyListMisses = "A crash of the coordinator may lose its own record of a branch that was only prepared. Then the list alone knows of it: a branch that is missing stays reserved for ever."

	whyListTooMuch = "What is listed as in doubt and unknown to the log is rolled back. A finished branch in the list is an alarm every minute, or a rollback of what was paid."

	whyListWords = "A list that is not understood proves nothing, so the coordinator sweeps nothing: what a crash left prepared stays reserved."

	whyOtherLog = "Two coordinators may share a participant. Mixed up, one rolls back what the other is about to commit."

	whyLowWaterRefuse = "Rows may be dropped below low water, because low water refuses what comes late. Without that a delayed prepare meets no row, reserves, and is never finished."

	whyLowWaterAck = "Below low water everything is finished, and the row that could say how may be gone. A late copy that is not acknowledged is sent for ever, and the transaction never ends."

	whyLowWaterHeld = "Low water lets finished rows go, never prepared ones. A prepared row that goes is a lost vote: the others commit, and this one cannot."

	whyLowWaterOrder = "XIDs are ordered by the number of the incarnation and then by the sequence, as numbers. Compared as text, \"100\" is below \"11\": new work is refused, and late copies are let in."

	whyServerError = "A 5xx says \"ask again\", so a call that can never succeed is repeated until the timeout, or for ever. A request that is wrong is answered 4xx."

	whyLies = "Whoever sends half a request was cut off. A success for it makes somebody believe in work that was never asked for or done."

	whyInput = "Clients choose the transaction's id and the payload within what the contract allows. What a participant cannot take becomes a transaction that rolls back for no reason anybody understands."

	whyRace = "A retry overtakes the call that it repeats, and a rollback the prepare. Both must not find that nobody was there before: that is a second effect, or something reserved that nobody frees."

	whyAuth = "Whoever can reach the port could commit a payment that was to be rolled back, or roll back one that was made."
)
