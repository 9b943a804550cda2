"""What `howdah demo` serves: a sample database and example data of the local admin.

folder     the data folder of the demo, separate from that of `howdah serve`
shop       the sample database, in a cluster of its own: shop.sql
documents  the content of the example files
examples   creates the tasks, the files and the saved connection

Clients such as the tabs of GraphiQL rely on these names: the connection "Shop"; its schemas `shop`
and `reporting` with the tables `shop.customers`, `shop.products`, `shop.orders` and
`shop.order_items`; the bucket "documents".
"""

from db.demo.examples import BUCKET, CONNECTION, create_examples
from db.demo.folder import DemoFolder
from db.demo.shop import Shop

__all__ = ["BUCKET", "CONNECTION", "DemoFolder", "Shop", "create_examples"]
