// Package wal keeps a decision log in a directory of files: [Open] returns a
// [*Log], which implements [txlog.Log], and [OpenReadOnly] reads a log that may
// be in use.
//
// # What it guarantees
//
//  1. When Force returns nil, the record and all records before it survive a
//     power loss, on a disk that keeps what it says it has synced.
//  2. After any crash the next Open finds a prefix of the records in the order in
//     which they were added, with nothing missing in between, and that prefix is
//     durable before Open returns.
//  3. Damage to what was durable is never taken for a crash as long as anything
//     that was written later, or a clean Close, proves that it was durable: Open
//     refuses with a [*CorruptError] and changes nothing.
//  4. After a write or a sync of the log failed, or did not return within
//     [Options.StallLimit], or a sync of the directory failed, the log takes
//     nothing more, and the file is neither written nor synced again.
//  5. One process writes at a time: the directory itself is locked, so that removing
//     the file LOCK lets nobody else in.
//  6. The directory's size follows what is unfinished and what is remembered, not
//     history: see Checkpoints. Replay after a checkpoint gives what replay of all
//     that the checkpoint stands for gave, but for outcomes that are not to be
//     remembered any more.
//  7. When the disk is full, [Log.Room] says so while there is still a reserve of
//     two segments, in which what was begun can finish; when there is room again,
//     it says that too. So it does when the process has used up its file
//     descriptors: the files of the reserve are open.
//  8. A log whose newest segment is not the file that it was made as is a copy, or
//     was restored from one. It opens with a [txlog.Hold] behind its records.
//  9. A log whose directory or newest segment is removed, renamed or replaced while it
//     is open fails with a [*GoneError] before it says of another record that it is
//     durable, and at the latest a second later if there is none. It never writes to
//     the directory that has taken the name.
//
// What remains: damage to the last synced batches of a log that crashed before
// anything followed them looks like a tail that was never synced, and is cut;
// nothing can prove that a whole newest segment has been deleted by hand after a
// crash; and a volume that was restored as a whole has the files that it had.
//
// # Files
//
//	LOCK          held with flock by the writer, like the directory itself where the
//	              file system can do that; contains its process id
//	00000007.ckp  a checkpoint: stands for the segments up to this number
//	00000008.seg  segments, numbered in the order of their creation
//	00000009.tmp  a segment that is being made; without meaning
//	00000006.free room for a segment to come; without meaning
//	ckp.tmp       a checkpoint that is being made; without meaning
//	clean         how far the log was durable at the last clean Close
//	clean.tmp     room for a clean file, or one that is being made; without meaning
//
// Other names are left alone. All numbers are little-endian. All checksums are
// CRC-32C. A position is a number of bytes from the log's beginning; it only
// grows over the life of the log, and segment headers do not count. The byte at
// offset o of a segment has the position start + o - 88.
//
// Segment header, 88 bytes. Every version of the format begins with these magic
// and version fields, and whoever does not know the version stops there, whatever
// else is wrong with this file or another: a later version may say it otherwise. A
// new kind of record, or a new field, is a new version: within one version an
// unknown kind under a good checksum is damage, and so is a field or a padding that
// is zero by this comment and not in the file, a payload that is not exactly its
// records, or a number that contradicts another. Version 1 has no kind 13, and is
// otherwise the same; it is read, and what is written after it is version 2.
//
//	 0  magic, "dtc-wal\n"
//	 8  u32 version, 2
//	12  u32 checksum of the header with this field zero
//	16  log id, 10 bytes
//	26  u16 zero
//	28  u32 number of the segment, as in its name
//	32  u64 start: the position of the first batch
//	40  u64 synced: everything before this position was durable when the segment
//	    came into being (the batches that it was born with included); so it is
//	    not less than start
//	48  u64 begin: when the segment came into being there was a durable checkpoint
//	    up to this position; zero: there was none
//	56  i64 creation time, nanoseconds since 1970
//	64  i64 size to which the file was preallocated
//	72  u64 inode of the file; zero if the file system has no such number
//	80  i64 birth of the file, nanoseconds since 1970; zero if that is not known
//
// Batch, at a multiple of 8 bytes, a header of 56 bytes and a payload that is
// padded with zeros to a multiple of 8:
//
//	 0  magic, "dtcB"
//	 4  u32 checksum of everything from offset 8 to the end of the padding
//	 8  u32 length of the payload without padding, at least 1, at most 1 MiB
//	12  u32 number of records
//	16  u64 position of this batch
//	24  u64 synced: everything before this position was known to be durable when
//	    this batch was written; so it is not more than this batch's position
//	32  i64 time, nanoseconds since 1970
//	40  u32 number of the segment
//	44  log id, 10 bytes
//	54  u16 zero
//	56  payload
//
// A batch is good if its checksum, magic, log id, segment and position are right.
// What a recycled file held before, or what belongs elsewhere, is never good.
//
// The payload is a sequence of records: uvarint length, then so many bytes, of
// which the first is the kind and the rest the body. Numbers are shortest-form
// uvarints unless noted, text is a uvarint length and its bytes, a ref is an
// incarnation number and a sequence.
//
//	 1 incarnation  number, u32 nonce, through
//	 2 block        incarnation number, through
//	 3 prepare      ref, text id, 16 bytes fingerprint, count, then for each branch
//	                a byte (1: plain) and text participant
//	 4 commit       ref, count, then a byte for each vote
//	 5 abort        ref, code byte, text participant, text message
//	 6 end          ref, outcome byte
//	 7 resolution   ref, text participant, outcome byte, text reason
//	 8 logged       incarnation number, count, then for each run of sequences the
//	                first and the last; ascending, with a gap between any two
//	 9 horizon      i64 time
//	10 outcome      ref, 16 bytes key, 16 bytes fingerprint, outcome byte, code
//	                byte, i64 time
//	11 hold         incarnation number, text reason
//	12 release      text reason
//	13 one phase    as prepare, with one branch
//
// An incarnation number has 32 bits, other numbers 64. An id has at most 128 bytes,
// a participant 64, a message or a reason 65536; there are at most 1000 branches or
// votes. A vote is 0 (abort), 1 (commit) or 2 (read-only); an outcome 0 (unknown), 1
// (committed), 2 (rolled back) or 3 (heuristic), of a resolution 1 or 2; a code 0 to
// 9, the plain byte 0 or 1. Anything else is no record.
//
// Kinds 8, 9 and 10 stand in checkpoints only. A key is [txlog.KeyOf] the id.
//
// Checkpoint header, 72 bytes:
//
//	 0  magic, "dtc-ckp\n"
//	 8  u32 version, 2
//	12  u32 checksum of the header with this field zero
//	16  log id, 10 bytes
//	26  u16 zero
//	28  u32 number of the newest segment that it stands for, as in its name
//	32  u64 end: the position up to which it stands for the log; the next segment
//	    starts there
//	40  u64 size of the file
//	48  u64 number of records
//	56  u64 number of outcomes among them
//	64  i64 time, nanoseconds since 1970
//
// Behind it come batches as in a segment, up to the end of the file, with the
// checkpoint's number for that of the segment, offset - 72 for the position, and
// zero for synced. A batch has the time of the records that it was made from, or
// for logged, horizon and outcome that of the checkpoint that first had it. Outcomes
// share no batch with other kinds.
//
// Clean file, 32 bytes: magic "dtc-end\n"; u32 checksum of the file with this
// field zero; log id, 10 bytes; u16 zero; u64 position: the log was durable up to
// here. It is one more proof of durability, true for ever, so it is not removed
// when the log is used again.
//
// # Writing
//
// Batches are appended to the newest segment. When it is full it is synced, and a
// new one is made: a NUMBER.free is renamed to NUMBER.tmp (or a file of that name
// is preallocated), written and synced, then renamed to NUMBER.seg, then the
// directory is synced; only then is a batch written to it. So a name ending in
// .seg always has a durable header, and all segments but the newest are durable to
// their end. Behind its last batch a segment holds zeros, or what the file held in
// an earlier life.
//
// A clean Close syncs, writes the clean file (clean.tmp, for which there has
// been room from the beginning, written and synced, renamed,
// directory synced), and then cuts the preallocated rest off the newest segment.
//
// # Checkpoints
//
// A checkpoint is not a picture of the coordinator's tables but a fold of the log
// itself: of the checkpoint before it and of the segments that are full and
// durable. So it can say nothing that the log did not say, and nothing has to
// stand still while it is made.
//
// It holds, in this order: an incarnation for each one of the log, with the
// sequences it has reserved; the last hold and its release, if there are any: what
// was released still says which incarnations are known to be doubtful; logged: every transaction
// for which the log ever held a prepare record and that has ended; horizon: every
// outcome that ended after this time is still remembered (absent if none was
// dropped); outcome: the transactions that have ended and are remembered, in the
// order of their ends; and for each transaction that has not ended, in the order
// of refs, its prepare record, its decision if there is one, and its resolutions.
//
// ckp.tmp is written, synced, renamed to NUMBER.ckp, and the directory is synced.
// Only then are the segments it stands for renamed to NUMBER.free or removed, and
// the checkpoint before it removed. Then the directory is synced once more, and
// only after that may a file that was freed be written again: until then a power
// loss could bring back its old name.
//
// # Reading back
//
// The checkpoint of the highest number counts; every byte of it must be good. The
// segments that it stands for, and older checkpoints, are as good as removed. It
// must reach at least to the begin of every segment header, and a log without a
// checkpoint begins at position zero. Where there is a checkpoint or a clean file
// there is a segment behind it. A file without its magic is foreign only if the rest
// of its header does not fit and no other file shows that there is a log; otherwise
// it was overwritten, which is damage.
//
// Segments are read in the order of their numbers, each up to the start of the
// next one, which supersedes the rest of it. The good batches from the checkpoint's
// end up to the first that is not good are the log. The highest synced position in
// any header, any good batch (also one behind the first bad one) and the clean file
// says how far the log was durable for certain. If that is not within the good
// batches, or a segment but the newest lacks part of what it must hold, or the
// newest is shorter than it was made without a clean Close, something durable was
// damaged, and Open refuses. Otherwise the rest is a tail that nobody was told is
// durable, and is cut.
//
// What was read may still exist in the page cache alone, and a file whose sync
// once failed can never be trusted to reach the disk. So Open copies everything
// from the position that was durable for certain (or a little more, see below) to
// the end into a new segment, made like any other: complete and synced before it
// has its name. It goes on from there and never writes to an old segment. If the
// newest segment holds little, all of it is copied and the old file freed, so
// that opening a log often does not leave many small files. If the newest segment
// is a copy, the new one is born with a hold record behind all others.
//
// Names may be of the page cache alone, too: after a sync of the directory failed, one
// that succeeds proves nothing of the names before it. So all of the newest segment is
// copied also if nothing stands in it but what it was made with, since only a process
// whose sync of the name succeeded writes behind that; and a checkpoint that the newest
// segment does not know of is copied and gets its name anew, unless the disk is full.
//
// # Crash cases
//
// A crash may come anywhere; each of these leaves one of two states, both good.
//
//   - Making a segment, before the rename is durable: NUMBER.tmp or nothing
//     remains. It is removed by the next Open. The segment before it is intact.
//   - After the rename: the segment is complete with all it was born with.
//   - Writing batches: any unsynced part may be missing, also in the middle. The
//     batches behind a gap say that only what lies before it was synced. Cut.
//   - During Open, before the new segment has its name: nothing has changed.
//     Afterwards: the new segment supersedes what it copied. Doing it again copies
//     the copy.
//   - Removing, freeing and cutting superseded segments: either state reads the
//     same.
//   - Making a checkpoint, before the rename is durable: ckp.tmp or nothing. After:
//     all its segments, some or none may still be there, and are not looked at.
//   - Making the first segment: the directory holds no segment and no clean file,
//     which is a new log.
//   - Clean Close: the clean file is either the old one or the new one, and both
//     are true. The rest of the segment is cut only when the new one is durable.
package wal
