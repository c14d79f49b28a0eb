-- Where each user's mail lives, for PostgreSQL:  psql mail < proxy-pgsql.sql
--
-- "user"    the name that a client logs in with; a reserved word here, so it is always quoted:
--           the query ends in  FROM proxy WHERE "user" = '%u'
-- host      IP address of his server; a row without one is refused as a temporary failure
-- destuser  his name there, when it is another one; '' or NULL means the same name

CREATE TABLE proxy (
  "user" varchar(255) NOT NULL,
  host varchar(16) default NULL,
  destuser varchar(255) NOT NULL default '',
  PRIMARY KEY ("user")
);

-- INSERT INTO proxy VALUES ('john', '192.168.0.1', '');
-- INSERT INTO proxy VALUES ('joe', '192.168.0.2', 'joe@example.com');

-- The proxy reads and nothing else:
-- CREATE ROLE dovecot LOGIN PASSWORD 'secret';
-- GRANT SELECT ON proxy TO dovecot;
