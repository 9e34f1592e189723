-- What MySQL Router 9.7 asks for of the group's members, in tables of our own under the names that it knows.
CREATE DATABASE mysql_innodb_cluster_metadata;

CREATE VIEW mysql_innodb_cluster_metadata.schema_version (major, minor, patch) AS SELECT 2, 2, 0;

CREATE TABLE mysql_innodb_cluster_metadata.v2_gr_clusters (
    cluster_id CHAR(36) PRIMARY KEY,
    cluster_name VARCHAR(64) NOT NULL,
    cluster_type CHAR(2) NOT NULL,
    group_name CHAR(36) NOT NULL,
    router_options JSON
);

INSERT INTO mysql_innodb_cluster_metadata.v2_gr_clusters
VALUES (@@group_replication_group_name, 'leads', 'gr', @@group_replication_group_name, NULL);

CREATE TABLE mysql_innodb_cluster_metadata.v2_instances (
    instance_id INT PRIMARY KEY AUTO_INCREMENT,
    cluster_id CHAR(36) NOT NULL,
    mysql_server_uuid CHAR(36) NOT NULL,
    label VARCHAR(256) NOT NULL,
    address VARCHAR(256) NOT NULL,
    endpoint VARCHAR(256) NOT NULL,
    xendpoint VARCHAR(256),
    attributes JSON
);

INSERT INTO mysql_innodb_cluster_metadata.v2_instances (cluster_id, mysql_server_uuid, label, address, endpoint, attributes)
SELECT @@group_replication_group_name, MEMBER_ID, address, address, address, '{"instance_type": "group-member"}'
FROM (SELECT MEMBER_ID, CONCAT(MEMBER_HOST, ':', MEMBER_PORT) AS address
      FROM performance_schema.replication_group_members) AS members;

CREATE VIEW mysql_innodb_cluster_metadata.v2_this_instance AS
SELECT instance_id, cluster_id, cluster_name, cluster_type
FROM mysql_innodb_cluster_metadata.v2_instances JOIN mysql_innodb_cluster_metadata.v2_gr_clusters USING (cluster_id)
WHERE mysql_server_uuid IN
    (SELECT VARIABLE_VALUE FROM performance_schema.global_variables WHERE VARIABLE_NAME = 'server_uuid');

-- No group of groups.
CREATE TABLE mysql_innodb_cluster_metadata.v2_cs_members (
    cluster_id CHAR(36) PRIMARY KEY,
    clusterset_id CHAR(36) NOT NULL
);

-- Router enters itself.
CREATE TABLE mysql_innodb_cluster_metadata.v2_routers (
    router_id INT PRIMARY KEY AUTO_INCREMENT,
    cluster_id CHAR(36),
    router_name VARCHAR(256) NOT NULL,
    address VARCHAR(256) NOT NULL,
    product_name VARCHAR(128),
    version VARCHAR(16),
    last_check_in TIMESTAMP NULL,
    attributes JSON,
    options JSON
);

CREATE VIEW mysql_innodb_cluster_metadata.routers AS SELECT * FROM mysql_innodb_cluster_metadata.v2_routers;

CREATE VIEW mysql_innodb_cluster_metadata.v2_router_options AS
SELECT router_id, options AS router_options FROM mysql_innodb_cluster_metadata.v2_routers;
