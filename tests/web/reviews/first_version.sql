BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE review_answers (
	item_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	text TEXT NOT NULL, 
	confidence FLOAT, 
	rank INTEGER, 
	decided_on FLOAT, 
	verdict TEXT, 
	same_as INTEGER, 
	added_by TEXT NOT NULL, 
	CONSTRAINT pk_review_answers PRIMARY KEY (item_id, number), 
	CONSTRAINT fk_review_answers_item_id FOREIGN KEY(item_id) REFERENCES review_items (id)
);
INSERT INTO "review_answers" VALUES(1,0,'flu',0.5,0,0.5,'correct',NULL,'');
INSERT INTO "review_answers" VALUES(1,1,'cold',0.3,1,0.3,'wrong',NULL,'');
INSERT INTO "review_answers" VALUES(2,0,'migraine',0.6,0,0.6,NULL,NULL,'');
INSERT INTO "review_answers" VALUES(2,1,'flu',0.2,1,0.2,NULL,NULL,'');
INSERT INTO "review_answers" VALUES(3,0,'measles',0.4,0,0.4,NULL,NULL,'');
INSERT INTO "review_answers" VALUES(3,1,'rubella',0.3,1,0.3,NULL,NULL,'');
INSERT INTO "review_answers" VALUES(1,2,'covid',NULL,NULL,NULL,'correct',NULL,'ann');
CREATE TABLE review_events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	item_id INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	who TEXT NOT NULL, 
	what TEXT NOT NULL, 
	detail JSON NOT NULL, 
	CONSTRAINT fk_review_events_item_id FOREIGN KEY(item_id) REFERENCES review_items (id)
);
INSERT INTO "review_events" VALUES(1,1,'2026-03-01 12:00:30.000000','system','added','{"kind": "escalate", "risk": "high"}');
INSERT INTO "review_events" VALUES(2,2,'2026-03-01 12:01:00.000000','system','added','{"kind": "escalate", "risk": "normal"}');
INSERT INTO "review_events" VALUES(3,3,'2026-03-01 12:01:30.000000','system','added','{"kind": "escalate", "risk": "normal"}');
INSERT INTO "review_events" VALUES(4,1,'2026-03-01 12:02:00.000000','ann','claimed','{"until": "2026-03-01T12:32:00+00:00"}');
INSERT INTO "review_events" VALUES(5,1,'2026-03-01 12:02:30.000000','ann','marked','{"verdicts": {"0": "correct", "1": "wrong"}}');
INSERT INTO "review_events" VALUES(6,1,'2026-03-01 12:03:00.000000','ann','answer_added','{"number": 2, "text": "covid"}');
INSERT INTO "review_events" VALUES(7,1,'2026-03-01 12:03:30.000000','ann','resolved','{"note": "clear"}');
INSERT INTO "review_events" VALUES(8,2,'2026-03-01 12:04:00.000000','bob','claimed','{"until": "2026-03-01T12:34:00+00:00"}');
CREATE TABLE review_items (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	request_id TEXT, 
	question TEXT NOT NULL, 
	completion TEXT NOT NULL, 
	k INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	status_reason TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	risk TEXT NOT NULL, 
	model_id TEXT NOT NULL, 
	policy_id TEXT NOT NULL, 
	equality TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	turn INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	claimed_by TEXT, 
	claimed_until DATETIME, 
	finished_by TEXT, 
	finished_at DATETIME, 
	note TEXT NOT NULL, 
	CONSTRAINT uq_review_items_request_id UNIQUE (request_id)
);
INSERT INTO "review_items" VALUES(1,NULL,'Fever and cough?','<answer1>flu</answer1><confidence1>0.5</confidence1><answer2>cold</answer2><confidence2>0.3</confidence2>',2,'clean','','escalate','The most confident answer has 0.5, below the 0.9 of a single answer.','high','m','p','text','2026-03-01 12:00:30.000000',0,'resolved',NULL,NULL,'ann','2026-03-01 12:03:30.000000','clear');
INSERT INTO "review_items" VALUES(2,NULL,'Headache?','<answer1>migraine</answer1><confidence1>0.6</confidence1><answer2>flu</answer2><confidence2>0.2</confidence2>',2,'clean','','escalate','The most confident answer has 0.6, below the 0.9 of a single answer.','normal','m','p','text','2026-03-01 12:01:00.000000',1,'open','bob','2026-03-01 12:34:00.000000',NULL,NULL,'');
INSERT INTO "review_items" VALUES(3,NULL,'Rash?','<answer1>measles</answer1><confidence1>0.4</confidence1><answer2>rubella</answer2><confidence2>0.3</confidence2>',2,'clean','','escalate','The most confident answer has 0.4, below the 0.9 of a single answer.','normal','m','p','text','2026-03-01 12:01:30.000000',1,'open',NULL,NULL,NULL,NULL,'');
CREATE INDEX ix_review_items_line ON review_items (state, turn, id);
CREATE INDEX ix_review_events_item_id ON review_events (item_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('review_items',3);
INSERT INTO "sqlite_sequence" VALUES('review_events',8);
COMMIT;
