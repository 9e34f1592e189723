-- What the accounts may do, table by table. A new table is named here (tests/unit/test_compose.py).

-- The API reads. At a log-in it writes the password's hash anew when the parameters of hashing have changed.
GRANT SELECT ON leads.* TO leads_api;
GRANT UPDATE (password_hash, updated_at) ON leads.users TO leads_api;

-- Workers write every table but the users and the sources.
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.leads TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.lead_counts TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.lead_totals TO leads_worker;
GRANT SELECT, INSERT, UPDATE ON leads.stored_positions TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.dirty_minutes TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.accepted_counts TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.source_counts TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.source_accepted_counts TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.duplicate_counts TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.first_leads TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.idempotency_keys TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.dropped_leads TO leads_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON leads.audit_trail TO leads_worker;
GRANT SELECT, INSERT ON leads.erased_leads TO leads_worker;
GRANT SELECT ON leads.kept_out TO leads_worker;
GRANT SELECT ON leads.kept_out_salt TO leads_worker;

-- Maintenance makes partitions of months to come, and drops those past the retention (docs/adr/0007).
GRANT ALTER, CREATE, DROP ON leads.leads TO leads_worker;
