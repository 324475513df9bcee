import { application, openApplication, projection, topic } from 'mainstem'
import { z } from 'zod'

export const purchases = topic('purchases', {
  key: 'customer',
  value: z.object({ customer: z.string(), cents: z.int() }),
})

export const spending = projection('spending', {
  key: z.string(),
  state: z.object({ count: z.int32(), cents: z.int() }), // a new row starts at zero
}).on(purchases, 'customer', (spent, purchase) => {
  spent.count++
  spent.cents += purchase.cents
})

const app = application('hello', { views: [spending] })
export default app // `npx mainstem run hello.ts` serves it over HTTP

if (import.meta.main) {
  await using hello = await openApplication(app)
  const token = await hello.append(purchases, [
    { customer: 'ada', cents: 1250 },
    { customer: 'ada', cents: 800 },
  ])
  const { value, position } = await hello.client.views.spending.get('ada', { after: token })
  console.log(value, 'at', position) // { count: 2, cents: 2050 } at 2
}
